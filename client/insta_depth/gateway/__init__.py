"""The documented HTTP API in front of Triton; an optional part: ``pip install 'insta-depth[gateway]'``.

A request's way: `routes` → `reading` (its body) → `service` (credits, its turn, Triton) → `delivery` (the answer).
"""
