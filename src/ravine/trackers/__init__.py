"""A run's rows in the form of trackers: TensorBoard, MLflow, Weights & Biases, trackio, any object.

run folder -> follower (rows as they are appended) -> run_rows (names and values) -> a tracker
"""
