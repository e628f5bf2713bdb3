"""What chance decides in the texture, and what it is worth beside other codecs at equal bytes."""
