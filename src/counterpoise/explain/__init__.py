"""What a trained network looks at: activations, saliency maps, and whether they find the lesion."""
