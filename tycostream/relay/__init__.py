"""What one process that follows a database tells others that serve its rows: batches of changes, and how they travel.

Batches (`batches.py`) know nothing of how they travel; frames on a socket (`channel.py`) nothing of what they hold.
"""
