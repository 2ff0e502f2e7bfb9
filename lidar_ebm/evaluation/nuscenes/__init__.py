"""nuScenes' detection benchmark: average precision by the centre, five errors of the matches, and their summary NDS."""
