"""The pykka actors: who owns which state, and what messages they exchange."""
