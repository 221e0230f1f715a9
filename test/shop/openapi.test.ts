import { order } from '../../services/order/service.ts'
import { user } from '../../services/user/service.ts'
import { describeDocument } from '../support/openapi-facts.ts'

// Not whatever is in the graph: a service need not give examples, nor serve its document.
for (const { name, contract } of [user, order]) describeDocument(name, contract)
