"""What is measured in a cell: one file per metric."""
