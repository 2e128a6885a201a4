"""`hrlrec benchmark serve`: speed of the exported graph, and of the embedded server around it.

What is measured through the embedded server says nothing about TensorFlow Serving's speed.
"""
