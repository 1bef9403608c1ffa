"""What talking to the cloud costs: questions, contenders, and a server that answers from memory."""
