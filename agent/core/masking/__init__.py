"""What is hidden in the values that flow back to a client. It knows bytes and types, no sessions.

families      what is known of PostgreSQL's types: which are texts, numbers …, and a harmless value of each
calendar      dates, times and numbers from their text to PostgreSQL's binary form
canonical     what equal values have in common, in whichever format they come
harmless      what redact and partial leave
invention     values of the same shape as the given ones, keyed and stable
replacer      what a column's values are given to
replacement   … to be replaced in one of the ways that a mask names
spotting      … to be searched: only what is found is replaced
looks         values found in any text by what they look like; kinds, phones, national and checks say what that is
documents     the strings, numbers and elements of JSON and arrays
rows, copies  the messages that carry values: DataRow, and CopyData in all three formats
flow          a text that arrives in pieces
"""
