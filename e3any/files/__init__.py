"""What files of checkpoints are made of: names, numbers and JSON, written in one step."""
