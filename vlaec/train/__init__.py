"""Training. Needs torch, numpy, Pillow and safetensors alone, so that it runs on a bare machine."""
