"""The miniature checkpoint: a small world, its pictures, and small networks in the published layouts."""
