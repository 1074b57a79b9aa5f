"""Teachers that compute once: their answers to repeated views of the images, in files made for arrays."""
