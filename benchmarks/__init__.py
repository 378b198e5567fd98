"""Throughput and memory of this package, side by side with a plain implementation."""
