"""How the world asks: FastAPI factories that take the ports as arguments."""
