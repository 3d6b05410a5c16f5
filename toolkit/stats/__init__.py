"""Statistics over arrays: metrics, intervals, calibration, agreement, stratified group splits."""
