"""How right the pictures are: people, poses and prompts that no training has seen, through real Triton."""
