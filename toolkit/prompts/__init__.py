"""What a model is asked and answers: prompts, the answers of each class, input ablations, chat JSON."""
