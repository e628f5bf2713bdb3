"""The set codec: small images to `.vlaa` archives and back."""
