# The only entry. Logic lives in bootstrap.py (set-up) and in the code.
.PHONY: demo test check bench bless
demo test check bench bless:
	@python3 bootstrap.py $@
