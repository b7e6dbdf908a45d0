"""Streaming databases behind one small driver interface (`driver.py`); one module or package per kind."""
