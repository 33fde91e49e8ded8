"""The demo: a page to draw on pictures, ask about them, and see and compare the answers of a server of ours."""
