"""What runs inside a cell's process: build, compile, measure."""
