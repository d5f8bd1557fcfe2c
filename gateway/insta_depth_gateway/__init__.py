"""The documented HTTP API in front of Triton, built on the client package.

Request flow: `routes` → `reading` (the body) → `service` (credits, queue, Triton) → `delivery` (the response).
"""
