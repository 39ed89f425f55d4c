"""Regular expressions (RE2) of values that accounts and pods name, as webhook.admission.values checks them."""

from typing import Final

from webhook.admission import values

ID_PATTERN: Final = f"^[!-~]{{1,{values.MAX_ID}}}$"
INTEGER_PATTERN: Final = "^\\+?[0-9]{1,18}$"
QUANTITY_PATTERN: Final = f"^({values.QUANTITY.pattern})$"
UUID_PATTERN: Final = f"(?i)^({values.UUID.pattern})$"
# As webhook.admission.values has it, which looks ahead for the length.
DOMAIN_PATTERN: Final = "(?i)^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$"
