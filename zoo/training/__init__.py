"""The parts of `zoo.train`: data, order of pictures, optimiser, schedule, averages, state, published file."""
