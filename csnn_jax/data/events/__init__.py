"""Event-camera recordings: reads their files and converts their events to the frames that a network takes."""
