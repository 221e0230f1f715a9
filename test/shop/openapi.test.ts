import { system } from '../../infra/system.ts'
import { describeDocument } from '../support/openapi-facts.ts'

for (const { name, contract } of system.services) describeDocument(name, contract)
