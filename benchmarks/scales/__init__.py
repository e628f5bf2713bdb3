"""Which scale the texture should have: windows of one PixelCNN, and a pyramid of small ones."""
