"""What is on disk against what is planned: why a result is made anew, whether it is sound."""
