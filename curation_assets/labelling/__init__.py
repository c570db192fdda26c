"""The people in the expert loop: the task they are given, the page they label on, and labels in and out of files."""
