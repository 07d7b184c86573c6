"""What training does to images. Every function takes the random generator that it draws from, or draws nothing."""
