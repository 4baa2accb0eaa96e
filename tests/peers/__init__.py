"""The reference against the published packages, their findings, and the bridges to the frameworks."""
