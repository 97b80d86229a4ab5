"""What the application costs: `make bench`, or `python -m benchmarks SUBJECT`. Needs Linux."""
