"""What training does to pictures. Every function takes the random generator that it draws from, or draws nothing."""
