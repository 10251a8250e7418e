"""What an operator does beside a running gateway."""
