"""The documented HTTP API in front of Triton: a package of its own, on the client.

A request's way: `routes` → `reading` (its body) → `service` (credits, its turn, Triton) → `delivery` (the answer).
"""
