"""Pure architecture: Keras layers of the encoders, actors, critics and click heads."""
