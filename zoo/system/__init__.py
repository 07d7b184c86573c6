"""What the zoo needs of the operating system and the hardware: whole files and usable devices."""
