"""What is hidden in the values that flow back to a client. It knows bytes and types, no sessions.

families      what is known of PostgreSQL's types: which are texts, numbers …, and a harmless value of each
calendar      dates, times and numbers from their text to PostgreSQL's binary form
replacement   one value, replaced in one of the ways that a mask names
invention     values of the same shape as the given ones, keyed and stable
looks         values found in any text by what they look like; kinds, national and checks say what that is
documents     the same within JSON, XML, arrays and records, which stay valid
rows, copies  the messages that carry values: DataRow, and CopyData in all three formats
flow          a text that arrives in pieces
"""
