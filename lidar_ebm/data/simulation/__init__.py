"""The rooms of the LiDAR simulator: shapes, streets, scenes, sensor, labels. The door is `data.simulator`."""
