"""What a state_dict of another program holds: the file, its modules, and what folds into their weights."""
