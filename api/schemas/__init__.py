"""The shapes of requests and answers: requests as strict models, answers as typed dictionaries."""
