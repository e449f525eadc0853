"""What servers are, hold and do: read by `doctor`, `status` and `explain`; decides nothing."""
