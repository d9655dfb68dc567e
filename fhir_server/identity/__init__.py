"""Who a patient is: matching, merging and unmerging of Patients."""
