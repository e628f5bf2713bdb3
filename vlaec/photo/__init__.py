"""The photo codec: pictures to `.vlae` and back."""
