"""`vlaec bench`: rate against perceptual distortion of codecs on a folder of pictures."""
