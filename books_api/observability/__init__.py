"""What an operator sees: log lines, request ids, metrics, health, `flask doctor`."""
