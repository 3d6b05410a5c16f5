"""The workspace folder and everything stored in it: registry, SQL files, landed exports, runs, certificates, plans."""
