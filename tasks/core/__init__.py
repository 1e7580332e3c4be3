"""What tasks are made of; nothing in it imports a task."""
