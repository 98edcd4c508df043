"""What an algorithm remembers of the past of each weight."""
