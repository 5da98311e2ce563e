"""Recordings of event cameras: their files, and how their events become the frames that a network takes."""
